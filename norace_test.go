//go:build !race

package wsauth_test

const raceEnabled = false
