empty {}
single { a = 1 }
one "x" {
  a = "b"
  one "deeper" {}
}
many {
  a = 2
}
many {
}
