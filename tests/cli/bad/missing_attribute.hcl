host "a" {
  connection = "local"
}
