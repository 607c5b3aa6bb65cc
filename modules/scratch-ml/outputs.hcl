output "cluster" {
  value       = cluster.scratch
  description = "The cluster, for links and mounts beside those of the module."
}

output "fs_name" {
  value       = cluster.scratch.fs_name
  description = "The file system's name."
}

output "mount_paths" {
  value       = { for name, mount in mount.client : name => mount.path }
  description = "Where the file system is mounted, by the names of `clients`."
}

output "targets" {
  value       = cluster.scratch.targets
  description = "The names of all targets, as `lustre status` shows them."
}
