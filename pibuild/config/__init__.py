"""Files and variables become typed values: settings, recipes, targets, images, Pis."""
