value "alpha" {
  input = 1
}

value "b" {
  input = value.alhpa.output
}
