host "here" {
  connection = "local"
  path       = "/srv/lustre/agent
}

bucket "data" {
  host = host.here
  path = "/srv/data"
}
