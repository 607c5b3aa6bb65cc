bucket "a" {
}
