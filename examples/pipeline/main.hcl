# Something to run the pipeline on that needs no host.
variable "release" {
  type    = string
  default = "1.0"
}

value "release" {
  input = var.release
}

output "release" {
  value = value.release.output
}
