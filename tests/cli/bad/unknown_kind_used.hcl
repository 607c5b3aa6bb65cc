bukket "data" {
  path = "/srv/data"
}

value "url" {
  input = "${bukket.data.endpoint_url}/${bukket.data.name}"
}
