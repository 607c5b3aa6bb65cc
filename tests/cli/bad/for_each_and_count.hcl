value "a" {
  for_each = { x = 1 }
  count    = 2
  input    = 1
}
