variable "hosts" {
  type        = any
  description = "The hosts of object targets, as a list or map: `host.storage` of a `for_each`, or `[host.a, host.b]`."
  nullable    = false

  validation {
    condition     = can([for host in var.hosts : host.control_port]) && try(length(var.hosts) > 0, false)
    error_message = "hosts must be a list or map of hosts, and not empty: write `hosts = host.storage` for all hosts of a block with for_each or count, or `hosts = [host.a]` for one."
  }
}

variable "metadata_host" {
  type        = object({ address = string })
  description = "The host of the metadata target. It cannot move later without the loss of all files, so it is named on its own."
  nullable    = false
}

variable "clients" {
  type        = map(object({ address = string }))
  default     = {}
  description = "The hosts where the file system is mounted, under names of their own."
  nullable    = false

  validation {
    condition     = alltrue([for client in var.clients : client != null])
    error_message = "clients must be a map of hosts: write `clients = host.workers`, or `clients = { login = host.login }`."
  }
}

variable "fs_name" {
  type        = string
  default     = "scratch"
  description = "The file system's name, which is also its mount name."
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,8}$", var.fs_name))
    error_message = "fs_name must have 1 to 8 letters, digits, '_' or '-', as FSx's mount names; \"${var.fs_name}\" has not."
  }
}

variable "path" {
  type        = string
  default     = "/srv/lustre"
  description = "The folder on each host that targets keep their data in; a disk of its own is best."
  nullable    = false

  validation {
    condition     = can(regex("^(/[^/]+)+$", var.path))
    error_message = "path must be an absolute path without a slash at the end, such as /srv/lustre; \"${var.path}\" is not."
  }
}

variable "mount_path" {
  type        = string
  default     = "/mnt/scratch"
  description = "Where the file system is mounted on each client."
  nullable    = false

  validation {
    condition     = can(regex("^(/[^/]+)+$", var.mount_path))
    error_message = "mount_path must be an absolute path without a slash at the end, such as /mnt/scratch; \"${var.mount_path}\" is not."
  }
}

variable "mount_options" {
  type        = list(string)
  default     = []
  description = "Options of the mounts: `ro` or `rw`."
  nullable    = false

  validation {
    condition     = alltrue([for option in var.mount_options : contains(["ro", "rw"], option)])
    error_message = "mount_options may have ro or rw, and no other option yet."
  }
}

variable "deployment_type" {
  type        = string
  default     = "SCRATCH_2"
  description = "FSx's deployment type: SCRATCH_1 or SCRATCH_2."
  nullable    = false

  validation {
    condition     = contains(["SCRATCH_1", "SCRATCH_2"], var.deployment_type)
    error_message = "deployment_type must be SCRATCH_1 or SCRATCH_2: this module is for data that can be made again; it is \"${var.deployment_type}\"."
  }
}

variable "data_compression_type" {
  type        = string
  default     = "LZ4"
  description = "Whether object targets compress what is written from now on: LZ4 or NONE."
  nullable    = false

  validation {
    condition     = contains(["LZ4", "NONE"], var.data_compression_type)
    error_message = "data_compression_type must be LZ4 or NONE, in capitals as FSx writes them; it is \"${var.data_compression_type}\"."
  }
}

variable "targets_per_host" {
  type        = number
  default     = 1
  description = "How many object targets each host has, usually one a disk; it may grow while files are in use."
  nullable    = false

  validation {
    condition     = var.targets_per_host >= 1 && var.targets_per_host <= 1000 && floor(var.targets_per_host) == var.targets_per_host
    error_message = "targets_per_host must be a whole number from 1 to 1000; it is ${var.targets_per_host}."
  }
}

variable "target_capacity" {
  type        = string
  default     = null
  description = "Most bytes of each object target, as a size such as \"500GiB\": a limit, not a reservation. 1.2TiB, as FSx's targets have, unless this or `storage_capacity` is given."

  validation {
    condition     = var.target_capacity == null ? true : can(regex("^[0-9]+([.][0-9]+)? ?(KiB|MiB|GiB|TiB|PiB)$", var.target_capacity))
    error_message = "target_capacity must be a size in binary units, such as \"500GiB\" or \"1.2TiB\"; it is ${jsonencode(var.target_capacity)}."
  }
}

variable "storage_capacity" {
  type        = number
  default     = null
  description = "GiB of all object targets together, in FSx's steps: 1200, 2400, then multiples of 2400 (SCRATCH_1: of 3600). For any other size give `target_capacity`."

  validation {
    condition     = var.storage_capacity == null || var.target_capacity == null
    error_message = "Either storage_capacity, of all targets together, or target_capacity, of each; never both."
  }

  validation {
    condition = var.storage_capacity == null ? true : (
      contains([1200, 2400], var.storage_capacity) ||
      var.storage_capacity > 0 && var.storage_capacity % (var.deployment_type == "SCRATCH_1" ? 3600 : 2400) == 0
    )
    error_message = "storage_capacity must be 1200, 2400 or a multiple of ${var.deployment_type == "SCRATCH_1" ? 3600 : 2400} GiB, as FSx has it for ${var.deployment_type}; for ${jsonencode(var.storage_capacity)} GiB give target_capacity instead."
  }
}

variable "layout" {
  type = list(object({
    end          = optional(string)
    stripe_count = optional(number, 1)
    stripe_size  = optional(string, "1MiB")
  }))
  default = [
    { end = "64MiB" },
    { end = "1GiB", stripe_count = 4 },
    { stripe_count = -1, stripe_size = "4MiB" },
  ]
  description = "How new files are striped: parts that follow each other, each up to `end`, over `stripe_count` targets (-1 for all)."
  nullable    = false

  validation {
    condition     = length(var.layout) >= 1 && length(var.layout) <= 32
    error_message = "layout must have 1 to 32 parts; it has ${length(var.layout)}."
  }

  validation {
    condition     = alltrue([for place, part in var.layout : (part.end == null) == (place == length(var.layout) - 1)])
    error_message = "Every part of layout but the last must have an end, and the last must have none, so that files can grow."
  }

  validation {
    condition = alltrue([for part in var.layout :
      part.stripe_count == -1 ||
      part.stripe_count >= 1 && part.stripe_count <= 2000 && floor(part.stripe_count) == part.stripe_count
    ])
    error_message = "The stripe_count of a part of layout must be a whole number from 1 to 2000, or -1 for all targets."
  }
}
