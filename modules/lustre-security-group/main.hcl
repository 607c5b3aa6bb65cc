# A security group for Lustre on EC2: what FSx asks of its own, and nothing more. Members reach each other on TCP 988 and 1018 to 1023,
# in and out; so do the groups and the address ranges of clients.

locals {
  # The port of LNet, and those that its connections come from.
  ports = concat([[988, 988], [1018, 1023]], var.ports)
}

security_group "lustre" {
  name        = var.name
  description = var.description
  vpc_id      = var.vpc_id
  tags        = var.tags

  dynamic "ingress" {
    for_each = local.ports
    content {
      protocol        = "tcp"
      from_port       = ingress.value[0]
      to_port         = ingress.value[1]
      self            = true
      security_groups = var.client_security_groups
      cidr_blocks     = var.client_cidr_blocks
      description     = "Lustre"
    }
  }

  dynamic "egress" {
    for_each = local.ports
    content {
      protocol        = "tcp"
      from_port       = egress.value[0]
      to_port         = egress.value[1]
      self            = true
      security_groups = var.client_security_groups
      cidr_blocks     = var.client_cidr_blocks
      description     = "Lustre"
    }
  }
}
