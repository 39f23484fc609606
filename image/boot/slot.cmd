# The slot's own half of the boot: device tree, kernel arguments, kernel. Part of the slot, so it
# updates and rolls back with it. Called by boot.scr (interface 1).
part uuid ${devtype} ${devnum}:${hearth_part} hearth_uuid
setenv hearth_from "${devtype} ${devnum}:${hearth_part}"

# On a Pi the slot's device tree for the board that U-Boot found; elsewhere (QEMU's virt) the
# machine's own. U-Boot's own addresses for the Pi leave 39 MB below the initramfs, and Debian's
# kernel has 51: ours are 128 MB up, which even a Zero 2 W has.
if test -n "${fdtfile}"; then
  setenv hearth_console "console=ttyS1,115200 console=tty1"
  setenv kernel_addr_r 0x00200000
  setenv fdt_addr_r 0x08000000
  setenv ramdisk_addr_r 0x08200000
  setenv kernel_comp_addr_r 0x0a000000
  setenv hearth_fdt ${fdt_addr_r}
  load ${hearth_from} ${fdt_addr_r} /boot/dtb/${fdtfile} || setenv hearth_fdt ${fdt_addr}
else
  setenv hearth_console "console=tty1 console=ttyAMA0,115200"
  setenv kernel_comp_addr_r 0x50000000
  setenv hearth_fdt ${fdtcontroladdr}
fi

# On trial: every slot but the one that was committed last. Then the verdict runs.
setenv hearth_trial 1
if test "${BOOT_COMMITTED}" = "${hearth_slot}"; then setenv hearth_trial 0; fi

# After a panic a restart, and one after an oops as well: what the kernel holds then it never gives
# back, and a half-dead machine is not noticed by boot.scr. No panic for tasks that hang: a worn card
# can be slow for minutes, and a restart does not make it faster.
# Security modules: only what something here uses. BPF's alone costs systemd the reading of the
# kernel's type information at every start, three seconds of an emulated one.
setenv bootargs "${hearth_console} lsm=lockdown,landlock,yama rauc.slot=${hearth_slot} hearth.part=${hearth_uuid} ro panic=10 oops=panic quiet loglevel=4 systemd.show_status=false hearth.rescue=${hearth_rescue} hearth.trial=${hearth_trial}"
# Compressed: a card reads slower than any Pi decompresses.
load ${hearth_from} ${kernel_addr_r} /boot/vmlinuz
setenv kernel_comp_size ${filesize}
load ${hearth_from} ${ramdisk_addr_r} /boot/initramfs
booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${hearth_fdt}
