clutser "a" {
}
