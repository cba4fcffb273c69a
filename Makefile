.PHONY: serve test

serve:
	sh etc/quickstart.sh serve

test:
	sh etc/quickstart.sh test
