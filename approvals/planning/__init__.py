"""What a plan says beside memory, room and cost: the security half, three levels of load, and sharing what runs."""
