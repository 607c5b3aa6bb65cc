value "a" {
  input = "unclosed
}
