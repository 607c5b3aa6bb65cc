# A file system whose directories are S3 prefixes: names are imported when a link is made, bytes when a file is first read,
# and what changes in a directory goes back to the bucket. AWS and every store that speaks S3 can be linked.

locals {
  # FSx's object targets have that size; `storage_capacity` is divided among the targets instead.
  target_capacity = var.storage_capacity == null ? coalesce(var.target_capacity, "1.2TiB") : null

  directories = { for name, link in var.links : name => coalesce(link.file_system_path, "/${name}") }
}

cluster "linked" {
  fs_name               = var.fs_name
  deployment_type       = var.deployment_type
  data_compression_type = var.data_compression_type
  storage_capacity      = var.storage_capacity
  metadata {
    host = var.metadata_host
    path = "${var.path}/mdt"
  }
  storage {
    hosts            = var.hosts
    path             = "${var.path}/ost"
    targets_per_host = var.targets_per_host
    target_capacity  = local.target_capacity
  }
}

data_repository_association "link" {
  for_each                         = var.links
  cluster                          = cluster.linked
  file_system_path                 = local.directories[each.key]
  data_repository_path             = each.value.data_repository_path
  batch_import_meta_data_on_create = each.value.batch_import_meta_data_on_create
  imported_file_chunk_size         = each.value.imported_file_chunk_size
  delete_data_in_filesystem        = each.value.delete_data_in_filesystem
  s3 {
    endpoint_url     = each.value.endpoint_url
    region           = each.value.region
    path_style       = each.value.path_style
    credentials_file = each.value.credentials_file
    auto_import_policy {
      events = each.value.auto_import_events
    }
    auto_export_policy {
      events = each.value.auto_export_events
    }
  }
}

mount "client" {
  for_each = var.clients
  cluster  = cluster.linked
  host     = each.value
  path     = var.mount_path
  options  = var.mount_options
}
