//go:build race

package wsauth_test

// The race detector makes sync.Pool forget at random, so that allocations cannot be counted.
const raceEnabled = true
