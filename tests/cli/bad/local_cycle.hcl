locals {
  a = local.b
  b = local.a
}

value "v" {
  input = local.a
}
