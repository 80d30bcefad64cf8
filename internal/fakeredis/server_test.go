package fakeredis

import (
	"net"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

func TestServerGivesItsAnswers(t *testing.T) {
	s := Serve(t, func(args []string) string {
		switch args[0] {
		case "get":
			return Bulk("a\r\nb")
		case "set":
			return HangUp
		}
		return Unknown
	})
	_, _, err := net.SplitHostPort(s.Addr)
	assert.NoError(t, err)
	client := redis.NewClient(&redis.Options{Addr: s.Addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	defer client.Close()
	value, err := client.Get(t.Context(), "Key").Result()
	assert.NoError(t, err)
	assert.Equal(t, "a\r\nb", value)
	assert.ErrorContains(t, client.Del(t.Context(), "key").Err(), "ERR unknown command 'del'")
	assert.Error(t, client.Set(t.Context(), "key", "value", 0).Err())
	assert.ErrorContains(t, client.Del(t.Context(), "key").Err(), "ERR unknown command 'del'")
	get, del := s.Got("get"), s.Got("del ")
	assert.Equal(t, "get key", get[0].Text)
	assert.Equal(t, get[0].Connection, del[0].Connection)
	assert.NotEqual(t, get[0].Connection, del[1].Connection)
}
