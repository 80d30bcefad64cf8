package tasks

import (
	"encoding/base64"
	"errors"
	"time"
)

const entryFormat = 1

// An entry is the record in the registry of a Resumable task that has not ended.
type entry struct {
	owner, id string
	service   string
	createdAt time.Time // of the task
}

func (e entry) encode() []byte {
	var w objectWriter
	w.open()
	w.uint("format", entryFormat)
	w.string("owner", base64.StdEncoding.EncodeToString([]byte(e.owner))) // an owner may be any bytes
	w.string("id", e.id)
	if e.service != "" {
		w.string("service", e.service)
	}
	w.int("created_at", e.createdAt.UnixMilli())
	w.close()
	return w.buf
}

func decodeEntry(data []byte) (e entry, err error) {
	given, err := openObject(data, entryFormat, nil)
	if err != nil {
		return entry{}, err
	}
	for _, m := range given {
		if err != nil {
			break
		}
		switch string(m.name) {
		case "format":
		case "owner":
			var owner []byte
			owner, err = jsonBase64(m.value)
			e.owner = string(owner)
		case "id":
			e.id, err = jsonString(m.value)
		case "service":
			e.service, err = jsonName(m.value)
		case "created_at":
			e.createdAt, err = decodeTime(m.value)
		default:
			err = errUnknownName
		}
	}
	if err == nil && (checkOwner(e.owner) != nil || !validID(e.id) || e.createdAt.IsZero()) {
		err = errors.New("no owner, id or created_at")
	}
	if err != nil {
		return entry{}, corrupt(err)
	}
	return e, nil
}
