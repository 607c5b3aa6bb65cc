plain = <<EOT
  ${"a"}
b
EOT
flush = <<-EOT
    one
      two

    ${"three"}
  EOT
first_column = <<-EOT
t:
  x
    ${"y"}
EOT
listed = [
  <<-EOT
    in a list
  EOT
  ,
  <<EOT
${true ~}
  last
EOT
]
