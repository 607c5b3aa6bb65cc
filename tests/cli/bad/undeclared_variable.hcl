variable "dataset" {
  type    = string
  default = "x"
}

value "a" {
  input = var.datset
}
