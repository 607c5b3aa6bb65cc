value "a" {
  for_each = 3
  input    = 1
}
