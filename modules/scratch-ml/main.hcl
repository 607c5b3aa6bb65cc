# A scratch file system for training jobs: fast, compressed, striped so that small files stay on one target and large
# ones, such as shards and checkpoints, use all of them. Nothing is mirrored: keep what cannot be made again elsewhere.

locals {
  # FSx's object targets have that size; `storage_capacity` is divided among the targets instead.
  target_capacity = var.storage_capacity == null ? coalesce(var.target_capacity, "1.2TiB") : null
}

cluster "scratch" {
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
  layout {
    dynamic "component" {
      for_each = var.layout
      content {
        end          = component.value.end
        stripe_count = component.value.stripe_count
        stripe_size  = component.value.stripe_size
      }
    }
  }
}

mount "client" {
  for_each = var.clients
  cluster  = cluster.scratch
  host     = each.value
  path     = var.mount_path
  options  = var.mount_options
}
