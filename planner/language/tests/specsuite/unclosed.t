diagnostics {
  error {
    # A text ends with its line.
    from {
      line   = 2
      column = 5
      byte   = 14
    }
    to {
      line   = 2
      column = 9
      byte   = 18
    }
  }
}
