package taskstore

import (
	"fmt"

	"github.com/taskstore/taskstore/internal/redislink"
)

// appendHMGet appends the command that asks for a record.
func appendHMGet(args []any, recordKey string) []any {
	return append(args, hmgetName, recordKey, versionField, dataField, expiresField)
}

const hmgetLength = 5

// These are made interfaces once, not at every call.
var hmgetName, versionField, dataField, expiresField any = "hmget", "version", "data", "expires_at"

// A redisRecord is a Record with its expiry as it is stored.
type redisRecord struct {
	Record
	expiresAt int64
}

// decodeRecord reads the answer to the command that asks for a record. ok is false
// where there is none.
func decodeRecord(key Key, fields []any) (rec redisRecord, ok bool, err error) {
	corrupt := func(reason string) (redisRecord, bool, error) {
		return redisRecord{}, false, &CorruptError{Key: key, Reason: reason}
	}
	if len(fields) != 3 {
		return corrupt(fmt.Sprintf("3 fields were asked for and %d came", len(fields)))
	}
	version, hasVersion := fields[0].(string)
	data, hasData := fields[1].(string)
	expires, hasExpiry := fields[2].(string)
	switch {
	case !hasVersion && !hasData && !hasExpiry:
		return redisRecord{}, false, nil
	case !hasVersion:
		return corrupt("version is missing")
	case !hasData:
		return corrupt("data is missing")
	}
	n, err := redislink.ParseNumber(version)
	if err != nil || n == 0 {
		return corrupt("version is not a number")
	}
	rec.Key, rec.Version, rec.Data = key, Version(n), []byte(data)
	if hasExpiry {
		ms, err := redislink.ParseNumber(expires)
		if err != nil || ms == 0 || int64(ms) > maxExpiry.UnixMilli() {
			return corrupt("expires_at is not a number of milliseconds")
		}
		rec.expiresAt = int64(ms)
		rec.ExpiresAt = expiryTime(rec.expiresAt)
	}
	return rec, true, nil
}
