# Hearth's boot script, interface version 1: choose a slot, count the attempt, run its slot.scr.
# Frozen: it lives on bootfs, which updates do not write. Everything that may change lives in the
# slot's own /boot/slot.scr, which gets devtype, devnum, hearth_part, hearth_slot, hearth_rescue.
setenv hearth_interface 1
setenv hearth_vars "BOOT_VERSION BOOT_SEQ BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT BOOT_COMMITTED"
setenv hearth_copy0 ${kernel_addr_r}
setexpr hearth_copy1 ${kernel_addr_r} + 0x2000

# The state copies lie in raw sectors: 8 at 1 MiB and 8 at 5 MiB. There is no generic block read
# command in every U-Boot build, so each kind of device has its own.
if test "${devtype}" = "mmc"; then
  setenv hearth_io "mmc dev ${devnum}; mmc"
elif test "${devtype}" = "usb"; then
  setenv hearth_io "usb dev ${devnum}; usb"
else
  setenv hearth_io "virtio dev ${devnum}; virtio"
fi
setenv hearth_read "${hearth_io} read"
setenv hearth_write "${hearth_io} write"

setenv hearth_get0 "${hearth_read} ${hearth_copy0} 0x800 8"
setenv hearth_get1 "${hearth_read} ${hearth_copy1} 0x2800 8"
setenv hearth_put0 "${hearth_write} ${hearth_copy0} 0x800 8"
setenv hearth_put1 "${hearth_write} ${hearth_copy1} 0x2800 8"
setenv hearth_load0 "env import -c ${hearth_copy0} 0x1000 ${hearth_vars}"
setenv hearth_load1 "env import -c ${hearth_copy1} 0x1000 ${hearth_vars}"

setenv hearth_seq0 0
setenv hearth_seq1 0
setenv BOOT_SEQ 0
run hearth_get0
if run hearth_load0; then setenv hearth_seq0 ${BOOT_SEQ}; fi
run hearth_get1
if run hearth_load1; then setenv hearth_seq1 ${BOOT_SEQ}; fi

# The newer valid copy counts; the other one is written.
if test 0x${hearth_seq0} -gt 0x${hearth_seq1}; then
  run hearth_load0
  setenv hearth_older 1
elif test 0x${hearth_seq1} -gt 0; then
  run hearth_load1
  setenv hearth_older 0
else
  # Nobody is committed then: what starts must prove itself anew.
  echo "hearth: no valid slot state, starting from defaults"
  setenv BOOT_COMMITTED none
  setenv BOOT_VERSION 1
  setenv BOOT_SEQ 0
  setenv BOOT_ORDER "A B"
  setenv BOOT_A_LEFT 3
  setenv BOOT_B_LEFT 3
  setenv hearth_older 0
fi

setenv hearth_slot
setenv hearth_rescue
for hearth_name in ${BOOT_ORDER}; do
  if test -z "${hearth_slot}"; then
    if test "${hearth_name}" = "A" && test 0x${BOOT_A_LEFT} -gt 0; then
      setenv hearth_slot A
      setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
    elif test "${hearth_name}" = "B" && test 0x${BOOT_B_LEFT} -gt 0; then
      setenv hearth_slot B
      setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
    fi
  fi
done
if test -z "${hearth_slot}"; then
  # No attempts left anywhere: the one that proved itself last, whatever the order.
  setenv hearth_rescue 1
  if test "${BOOT_COMMITTED}" = "B"; then setenv hearth_slot B; else setenv hearth_slot A; fi
else
  setexpr BOOT_SEQ ${BOOT_SEQ} + 1
  if test "${hearth_older}" = "0"; then
    env export -c -s 0x1000 ${hearth_copy0} ${hearth_vars}
    run hearth_put0
  else
    env export -c -s 0x1000 ${hearth_copy1} ${hearth_vars}
    run hearth_put1
  fi
fi

if test "${hearth_slot}" = "B"; then setenv hearth_part 3; else setenv hearth_part 2; fi
echo "hearth: slot ${hearth_slot}, attempts left A ${BOOT_A_LEFT} B ${BOOT_B_LEFT}, state ${BOOT_SEQ}"
if load ${devtype} ${devnum}:${hearth_part} ${pxefile_addr_r} /boot/slot.scr; then
  source ${pxefile_addr_r}
fi
echo "hearth: slot ${hearth_slot} did not start"
sleep 3
reset
