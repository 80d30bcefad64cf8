// Package redislink sends taskstore's commands to Redis. It knows no records: it evaluates
// scripts, sends each command once, resends it if that is safe, and classifies errors by
// their meaning for the command. No other package sends commands.
package redislink
