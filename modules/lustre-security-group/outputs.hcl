output "id" {
  value       = security_group.lustre.id
  description = "The id of the group, for `vpc_security_group_ids`."
}
