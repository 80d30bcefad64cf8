// Package redislink is how taskstore talks to Redis: what an error says about a
// command, what a script replies, and calls that end with their ctx. It knows
// nothing of records.
package redislink
