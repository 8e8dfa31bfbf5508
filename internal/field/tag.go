package field

import "strings"

// AnyTag reports whether etag, a strong one, is in the lists of a field, or "*"
// is. Weak comparison overlooks a W/ (RFC 9110 §8.8.3.2). From the first element
// on that is no entity tag, a list says nothing.
func AnyTag(lists []string, etag string, weak bool) bool {
	for _, list := range lists {
		if TrimSpace(list) == "*" {
			return true
		}
		for more := true; more; {
			var tag string
			if tag, list, more = cutTag(list); tag != "" && (tag == etag || weak && strings.TrimPrefix(tag, "W/") == etag) {
				return true
			}
		}
	}
	return false
}

// cutTag takes the first entity tag off a list; "" if there is none. A comma or
// the end must follow it, or it was none.
func cutTag(list string) (tag, rest string, more bool) {
	list = strings.TrimLeft(list, " \t,")
	opaque := strings.TrimPrefix(list, "W/")
	if !strings.HasPrefix(opaque, `"`) {
		return "", "", false
	}
	end := strings.IndexByte(opaque[1:], '"')
	if end < 0 {
		return "", "", false
	}
	end += len(list) - len(opaque) + 2
	rest = strings.TrimLeft(list[end:], " \t")
	if rest != "" && rest[0] != ',' {
		return "", "", false
	}
	return list[:end], rest, rest != ""
}
