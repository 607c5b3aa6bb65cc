# One machine: four targets, mounted where they are.

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
  description = "The ports of targets."
}

host "here" {
  connection   = "local"
  path         = "${var.root}/agent"
  control_port = var.control_port
  port_range   = var.port_range
}

module "training" {
  source           = "../"
  hosts            = [host.here]
  metadata_host    = host.here
  clients          = { here = host.here }
  path             = "${var.root}/data"
  mount_path       = "${var.root}/mnt"
  targets_per_host = 4
  target_capacity  = "16GiB"
}

output "mount" {
  value       = module.training.mount_paths["here"]
  description = "Where the file system is."
}

output "targets" {
  value       = module.training.targets
  description = "What it is striped over."
}
