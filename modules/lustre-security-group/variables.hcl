variable "name" {
  type        = string
  default     = "lustre"
  description = "The name of the group, the only one in its VPC."
}

variable "description" {
  type        = string
  default     = "Lustre servers and clients"
  description = "What the group is for; AWS cannot change it later."
}

variable "vpc_id" {
  type        = string
  default     = null
  description = "The VPC; the default one of the region unless given."
}

variable "client_security_groups" {
  type        = list(string)
  default     = []
  description = "Ids of other groups whose members are clients."
}

variable "client_cidr_blocks" {
  type        = list(string)
  default     = []
  description = "Ranges of IPv4 addresses that clients have."
}

variable "ports" {
  type        = list(list(number))
  default     = []
  description = "More ranges of ports, each as `[first, last]`: those that agents of the userspace engine listen on."
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Tags of the group."
}
