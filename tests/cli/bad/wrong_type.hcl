host "a" {
  connection   = "local"
  path         = "/srv/agent"
  control_port = "many"
}
