package look

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Clients of mcptasks know an anonymous task by its id and two digits of its owner.
func TestAnonymousIDsNameTheirOwner(t *testing.T) {
	assert.Equal(t, []string{"3f"}, anonymousID.FindStringSubmatch("b9f4c7e2-0000-4000-8000-000000000000-3f")[2:])
	assert.Nil(t, anonymousID.FindStringSubmatch("b9f4c7e2-0000-4000-8000-000000000000"))
}
