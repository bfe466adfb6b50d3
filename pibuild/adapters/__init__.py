"""Docker, programs and servers, each behind one module that translates its library's errors; no other imports them."""
