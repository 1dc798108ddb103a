<?php
// One of the files in a folder that PHP serves: says which one it is. The test puts it there under many names.
echo 'file ', bin2hex($_SERVER['SCRIPT_NAME']), "\n";
