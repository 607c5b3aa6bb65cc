value "a" {
  input = value.b.output
}

value "b" {
  input = value.c.output
}

value "c" {
  input = value.a.output
}
