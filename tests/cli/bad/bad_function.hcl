value "a" {
  input = uper("x")
}
