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

variable "links" {
  type = map(object({
    data_repository_path             = string
    file_system_path                 = optional(string)
    endpoint_url                     = optional(string)
    region                           = optional(string)
    path_style                       = optional(bool)
    credentials_file                 = optional(string)
    auto_import_events               = optional(set(string), [])
    auto_export_events               = optional(set(string), ["NEW", "CHANGED", "DELETED"])
    batch_import_meta_data_on_create = optional(bool, true)
    imported_file_chunk_size         = optional(number, 1024)
    delete_data_in_filesystem        = optional(bool, false)
  }))
  description = "Directories that are linked to S3, by name: 1 to 8. `file_system_path` is `/` and the name unless given; `credentials_file` is a file in AWS's shared format on the metadata host, and the SDK's chain is asked without it; an `endpoint_url` is for stores that are not AWS. `auto_import_events` says which changes of the bucket come in: it is listed again every half minute, or where that takes long, more rarely."
  nullable    = false

  validation {
    condition     = length(var.links) >= 1 && length(var.links) <= 8
    error_message = "links must have 1 to 8 entries, as many as FSx has associations on a file system; it has ${length(var.links)}."
  }

  validation {
    condition = alltrue([for link in var.links :
      can(regex("^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?$", link.data_repository_path)) &&
      length(link.data_repository_path) <= 4357
    ])
    error_message = "data_repository_path of a link must be s3://bucket or s3://bucket/prefix/, of at most 4357 characters."
  }

  validation {
    condition = alltrue([for name, link in var.links :
      can(regex("^(/|(/[^/]+)+)$", coalesce(link.file_system_path, "/${name}"))) &&
      length(coalesce(link.file_system_path, "/${name}")) <= 4096
    ])
    error_message = "file_system_path of a link must be an absolute path inside of the file system, such as / or /data/train, of at most 4096 characters."
  }

  validation {
    condition     = length(var.links) == 1 || alltrue([for link in var.links : link.file_system_path != "/"])
    error_message = "Only the one link of a file system may have file_system_path \"/\"; give each of ${length(var.links)} links its own directory."
  }

  validation {
    condition = alltrue(flatten([for a, one in var.links : [for b, other in var.links :
      a == b || !startswith("${coalesce(other.file_system_path, "/${b}")}/", "${coalesce(one.file_system_path, "/${a}")}/")
    ]]))
    error_message = "No file_system_path of a link may be that of another one or lie below it."
  }

  validation {
    condition = alltrue(flatten([for a, one in var.links : [for b, other in var.links :
      a == b || one.endpoint_url != other.endpoint_url || !startswith("${trimsuffix(other.data_repository_path, "/")}/", "${trimsuffix(one.data_repository_path, "/")}/")
    ]]))
    error_message = "No data_repository_path of a link may be that of another one or lie below it: a change would travel twice."
  }

  validation {
    condition = alltrue([for link in var.links :
      link.endpoint_url == null ? true : can(regex("^https?://[^@ ?#]+$", link.endpoint_url))
    ])
    error_message = "endpoint_url of a link must be a URL such as http://127.0.0.1:9000, without keys in it; leave it out for AWS."
  }

  validation {
    condition = alltrue([for link in var.links :
      link.credentials_file == null ? true : startswith(link.credentials_file, "/")
    ])
    error_message = "credentials_file of a link must be an absolute path on the metadata host; it names a file, it does not hold keys."
  }

  validation {
    condition = alltrue([for link in var.links :
      length(setsubtract(setunion(link.auto_import_events, link.auto_export_events), ["NEW", "CHANGED", "DELETED"])) == 0
    ])
    error_message = "auto_import_events and auto_export_events of a link may have NEW, CHANGED and DELETED, in capitals as FSx writes them."
  }

  validation {
    condition = alltrue([for link in var.links :
      link.imported_file_chunk_size >= 1 && link.imported_file_chunk_size <= 512000 &&
      floor(link.imported_file_chunk_size) == link.imported_file_chunk_size
    ])
    error_message = "imported_file_chunk_size of a link must be a whole number of MiB from 1 to 512000, as FSx has it."
  }
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
  default     = "linked"
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
  default     = "/mnt/linked"
  description = "Where the file system is mounted on each client."
  nullable    = false

  validation {
    condition     = can(regex("^(/[^/]+)+$", var.mount_path))
    error_message = "mount_path must be an absolute path without a slash at the end, such as /mnt/linked; \"${var.mount_path}\" is not."
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
  description = "FSx's deployment type; of those that take links, SCRATCH_2 is the one that is built."
  nullable    = false

  validation {
    condition     = contains(["SCRATCH_2"], var.deployment_type)
    error_message = "deployment_type must be SCRATCH_2: FSx links no SCRATCH_1 file system by association, and persistent types are not built; it is \"${var.deployment_type}\"."
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
  description = "GiB of all object targets together, in FSx's steps: 1200, or a multiple of 2400. For any other size give `target_capacity`."

  validation {
    condition     = var.storage_capacity == null || var.target_capacity == null
    error_message = "Either storage_capacity, of all targets together, or target_capacity, of each; never both."
  }

  validation {
    condition     = var.storage_capacity == null ? true : var.storage_capacity == 1200 || var.storage_capacity > 0 && var.storage_capacity % 2400 == 0
    error_message = "storage_capacity must be 1200 or a multiple of 2400 GiB, as FSx has it for SCRATCH_2; for ${jsonencode(var.storage_capacity)} GiB give target_capacity instead."
  }
}
