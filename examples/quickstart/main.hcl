# One machine: a folder served as a bucket, a cluster linked to it, a mount. Everything lies below one folder.

variable "root" {
  type        = string
  description = "An absolute path; agent, targets, bucket and mount point lie below it."
}

variable "targets" {
  type        = number
  default     = 4
  description = "Object targets; files are striped over them. It can grow while the cluster is in use."
}

host "here" {
  connection   = "local"
  path         = "${var.root}/agent"
  control_port = 7988
  port_range   = "7018-7117"
}

# Serves <root>/bucket, which must be there, to any S3 client; the keys are in `credentials_file`.
bucket "data" {
  host = host.here
  path = "${var.root}/bucket"
}

cluster "demo" {
  deployment_type       = "SCRATCH_2"
  data_compression_type = "LZ4"
  metadata {
    host = host.here
    path = "${var.root}/mdt"
  }
  storage {
    hosts            = host.here
    path             = "${var.root}/ost"
    targets_per_host = var.targets
    target_capacity  = "64GiB" # a limit, not a reservation
  }
}

# /data of the file system is the bucket: names are imported at once, bytes when first read, changes go back.
data_repository_association "data" {
  cluster                          = cluster.demo
  file_system_path                 = "/data"
  data_repository_path             = bucket.data.data_repository_path
  batch_import_meta_data_on_create = true
  s3 {
    endpoint_url     = bucket.data.endpoint_url
    credentials_file = bucket.data.credentials_file
    path_style       = true
    auto_export_policy {
      events = ["NEW", "CHANGED", "DELETED"]
    }
  }
}

mount "here" {
  cluster = cluster.demo
  host    = host.here
  path    = "${var.root}/mnt"
}

output "mount" {
  value       = mount.here.path
  description = "Where the file system is."
}

output "bucket" {
  value       = bucket.data.endpoint_url
  description = "Where the bucket answers."
}
