locals {
  parts  = 0
  share  = 4 / local.parts
  absent = lookup({ a = 1 }, "b")
}
