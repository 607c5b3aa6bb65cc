# One machine: a folder that is served as a bucket, and a file system with that bucket as a directory.

variable "root" {
  type        = string
  description = "An absolute path; everything lies below it."
}

variable "control_port" {
  type        = number
  default     = 7988
  description = "The port of the host's agent."
}

variable "port_range" {
  type        = string
  default     = "7018-7117"
  description = "The ports of targets and of the bucket."
}

host "here" {
  connection   = "local"
  path         = "${var.root}/agent"
  control_port = var.control_port
  port_range   = var.port_range
}

# Serves <root>/bucket, which must be there; for S3 itself leave `endpoint_url` and `credentials_file` out.
bucket "data" {
  host = host.here
  path = "${var.root}/bucket"
}

module "linked" {
  source          = "../"
  hosts           = [host.here]
  metadata_host   = host.here
  clients         = { here = host.here }
  path            = "${var.root}/data"
  mount_path      = "${var.root}/mnt"
  target_capacity = "16GiB"
  links = {
    data = {
      data_repository_path = bucket.data.data_repository_path
      endpoint_url         = bucket.data.endpoint_url
      credentials_file     = bucket.data.credentials_file
    }
  }
}

output "data" {
  value       = module.linked.linked_paths["here"]["data"]
  description = "Where the bucket's objects are files."
}
