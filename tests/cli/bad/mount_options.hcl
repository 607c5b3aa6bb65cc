host "here" {
  connection   = "local"
  path         = "/srv/lustre/agent"
  control_port = 7988
  port_range   = "7018-7117"
}

cluster "a" {
  deployment_type = "SCRATCH_2"
  metadata {
    host = host.here
    path = "/srv/lustre/mdt"
  }
  storage {
    hosts            = host.here
    path             = "/srv/lustre/ost"
    targets_per_host = 1
    target_capacity  = "1GiB"
  }
}


mount "one" {
  cluster = cluster.a
  host    = host.here
  path    = "/mnt/fsx"
  options = ["ro", "flock"]
}

