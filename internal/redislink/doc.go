// Package redislink is the way of taskstore's commands to Redis. It knows nothing of
// records: it evaluates scripts, sends each command once, resends it where that is
// right, and says what an error means for a command. Nothing else sends any.
package redislink
