output "cluster" {
  value       = cluster.linked
  description = "The cluster, for mounts beside those of the module."
}

output "fs_name" {
  value       = cluster.linked.fs_name
  description = "The file system's name."
}

output "mount_paths" {
  value       = { for name, mount in mount.client : name => mount.path }
  description = "Where the file system is mounted, by the names of `clients`."
}

output "targets" {
  value       = cluster.linked.targets
  description = "The names of all targets, as `lustre status` shows them."
}

output "links" {
  value = {
    for name, link in data_repository_association.link : name => {
      file_system_path     = link.file_system_path
      data_repository_path = link.data_repository_path
    }
  }
  description = "Which directory is linked to which prefix, by the names of `links`."
}

output "linked_paths" {
  value       = { for name, mount in mount.client : name => { for link, it in local.directories : link => "${mount.path}${it == "/" ? "" : it}" } }
  description = "Where each link's files are on each client, by the names of `clients` and `links`."
}
