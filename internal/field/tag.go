package field

import "strings"

// AnyTag reports whether etag, a strong one, is in the lists of a field, or "*"
// is. Weak comparison overlooks a W/ (RFC 9110 §8.8.3.2).
func AnyTag(lists []string, etag string, weak bool) bool {
	for _, list := range lists {
		if TrimSpace(list) == "*" {
			return true
		}
		for list != "" {
			var tag string
			if tag, list = cutTag(list); tag == "" {
				break
			}
			if tag == etag || weak && strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// cutTag takes the first entity tag off a list; "" if there is none.
func cutTag(list string) (tag, rest string) {
	list = strings.TrimLeft(list, " \t,")
	start := 0
	if strings.HasPrefix(list, "W/") {
		start = 2
	}
	if !strings.HasPrefix(list[start:], `"`) {
		return "", ""
	}
	end := strings.IndexByte(list[start+1:], '"')
	if end < 0 {
		return "", ""
	}
	end += start + 2
	return list[:end], list[end:]
}
