package ui

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// reply answers with v as JSON.
func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // fails if the client has gone
}

// refuse answers with the reason of a refusal.
func refuse(w http.ResponseWriter, code int, why string) {
	reply(w, code, map[string]string{"error": why})
}

// fail answers with an error of the store, in the words of the command.
func fail(w http.ResponseWriter, err error) {
	code := http.StatusBadGateway
	if errors.Is(err, tasks.ErrNotFound) {
		code = http.StatusNotFound
	}
	refuse(w, code, look.Explain(err))
}

// decode reads the body of a small request, or answers and returns false.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(v); err != nil {
		refuse(w, http.StatusBadRequest, "the body is not JSON of the expected form")
		return false
	}
	return true
}
