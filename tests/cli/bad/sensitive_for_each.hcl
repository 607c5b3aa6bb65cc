variable "keys" {
  type      = set(string)
  default   = ["a"]
  sensitive = true
}

value "a" {
  for_each = var.keys
  input    = 1
}
