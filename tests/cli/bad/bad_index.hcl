value "a" {
  for_each = { x = 1 }
  input    = each.value
}

output "y" {
  value = value.a["y"].output
}
