value "a" {
  input = var.absent
}

value "b" {
  input = 1 + "x"
}

value "c" {
  wrong = true
}
